"use strict";
// Without this script the page is complete: sorting, filtering and sliding are all it adds.
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  document.documentElement.classList.add("js");

  // ---- sort the summary by a column
  const table = document.getElementById("summary-table");
  const body = table && table.tBodies[0];

  const key = (row, column) => row.cells[column].dataset.sort;

  function sortBy(column, descending, numeric) {
    const rows = [...body.rows];
    const compare = (a, b) => (numeric ? Number(a) - Number(b) : a.localeCompare(b, undefined, { numeric: true }));
    rows.sort((one, other) => {
      const [a, b] = [key(one, column), key(other, column)];
      if (a === "" || b === "") return (a === "") - (b === "");  // without a value: last, either way
      return descending ? compare(b, a) : compare(a, b);
    });
    body.append(...rows);
  }

  all("#summary-table th").forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const numeric = head.dataset.kind === "number";
      const now = head.getAttribute("aria-sort");
      const descending = now ? now === "ascending" : numeric;
      all("th[aria-sort]", table).forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      sortBy(column, descending, numeric);
    });
  });

  // ---- show one verdict only
  const count = document.getElementById("filter-count");
  all("input[name=verdict-filter]").forEach((choice) => {
    choice.addEventListener("change", () => {
      const wanted = choice.value;
      all("[data-verdict]").forEach((one) => {
        one.hidden = wanted !== "all" && one.dataset.verdict !== wanted;
      });
      const shown = all("[data-verdict]:not([hidden])", body).length;
      count.textContent = wanted === "all" ? "" : `${shown} of ${body.rows.length} shown`;
    });
  });

  // ---- strength of the heat, boxes on or off, one sample at a time
  all(".card").forEach((card) => {
    const slider = card.querySelector(".heat-slider");
    const heat = card.querySelector(".heat");
    if (slider && heat) {
      const tell = card.querySelector("output");
      slider.addEventListener("input", () => {
        heat.style.opacity = String(slider.value / 100);
        tell.textContent = `${slider.value} %`;
      });
    }
    const toggle = card.querySelector(".boxes-toggle");
    const boxes = card.querySelector(".boxes");
    if (toggle && boxes) {
      toggle.addEventListener("change", () => boxes.classList.toggle("off", !toggle.checked));
    }
    // a region points at its box, its stretch of time, or both
    all("tr[data-region]", card).forEach((row) => {
      const marks = all(`[data-mark="${row.dataset.region}"]`, card);
      const light = (on) => marks.forEach((mark) => mark.classList.toggle("lit", on));
      row.addEventListener("mouseenter", () => light(true));
      row.addEventListener("mouseleave", () => light(false));
    });
  });

  // ---- paper has no clicks
  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = all("details:not([open])");
    opened.forEach((one) => { one.open = true; });
  });
  window.addEventListener("afterprint", () => opened.forEach((one) => { one.open = false; }));
})();
