// Interactive figures take the page's colours, and follow when the reader changes between light and dark.
(function () {
  // Lines are chosen for white paper; on a dark page each is mixed with as much white as it lacks in brightness.
  function onPage(colour, dark) {
    const parts = /^rgb\((\d+), ?(\d+), ?(\d+)\)$/.exec(colour || "");
    if (!dark || !parts) return colour;
    const [r, g, b] = parts.slice(1).map(Number);
    const white = Math.max(0, 150 - (0.3 * r + 0.59 * g + 0.11 * b)) / 255;
    return "rgb(" + [r, g, b].map((part) => Math.round(part + (255 - part) * white)).join(",") + ")";
  }

  function paint() {
    if (!window.Plotly) return;
    const style = getComputedStyle(document.documentElement);
    const text = style.getPropertyValue("--pst-color-text-base").trim();
    const line = style.getPropertyValue("--pst-color-border").trim();
    const dark = document.documentElement.dataset.theme === "dark";
    document.querySelectorAll(".pat-plotly .js-plotly-plot").forEach((figure) => {
      const change = { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", "font.color": text };
      Object.keys(figure.layout || {})
        .filter((key) => /^[xy]axis\d*$/.test(key))
        .forEach((axis) => {
          change[axis + ".gridcolor"] = line;
          change[axis + ".zerolinecolor"] = line;
        });
      figure.patColours = figure.patColours || (figure.data || []).map((trace) => (trace.line || {}).color);
      const colours = figure.patColours.map((colour) => onPage(colour, dark));
      window.Plotly.update(figure, { "line.color": colours, "marker.color": colours }, change);
    });
  }
  window.addEventListener("load", paint);
  new MutationObserver(paint).observe(document.documentElement, { attributeFilter: ["data-theme"] });
})();

// Tables of verdicts get buttons that show the claims of one verdict; without this script all rows are there.
(function () {
  function button(text, chosen, choose) {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    made.setAttribute("aria-pressed", String(chosen));
    made.addEventListener("click", () => choose(made));
    return made;
  }

  function filter(table) {
    const rows = [...table.querySelectorAll("tbody tr")];
    const verdict = new Map(rows.map((row) => [row, (row.querySelector(".verdict") || row).textContent.trim()]));
    const bar = document.createElement("div");
    bar.className = "verdict-filter";
    bar.setAttribute("role", "group");
    bar.setAttribute("aria-label", "Show claims by verdict");
    const shown = document.createElement("span");
    shown.className = "visually-hidden";
    shown.setAttribute("role", "status");
    const add = (label, wanted) => {
      const own = rows.filter((row) => wanted === null || verdict.get(row) === wanted);
      bar.append(
        button(label + ": " + own.length, wanted === null, (pressed) => {
          bar.querySelectorAll("button").forEach((b) => b.setAttribute("aria-pressed", String(b === pressed)));
          rows.forEach((row) => (row.hidden = !own.includes(row)));
          shown.textContent = own.length + " of " + rows.length + " claims shown";
        })
      );
    };
    const order = ["reproduced", "partly reproduced", "not reproduced"];
    const place = (name) => (order.indexOf(name) + order.length + 1) % (order.length + 1);
    add("all claims", null);
    [...new Set(verdict.values())].sort((a, b) => place(a) - place(b)).forEach((name) => add(name, name));
    bar.append(shown);
    const box = table.closest(".pst-scrollable-table-container") || table;
    box.before(bar);
  }

  document.addEventListener("DOMContentLoaded", () => document.querySelectorAll(".verdicts table").forEach(filter));
})();

// A figure opens in its full size: on a phone it is small.
(function () {
  window.addEventListener("load", () => {
    document.querySelectorAll(".bd-article .cell_output img, .bd-article figure img").forEach((image) => {
      if (image.closest("a")) return;
      const link = document.createElement("a");
      link.href = image.src;
      link.title = "Open the figure in its full size";
      image.before(link);
      link.append(image);
    });
  });
})();
