// Interactive figures take the page's colours, and follow when the reader changes between light and dark.
(function () {
  function paint() {
    if (!window.Plotly) return;
    const style = getComputedStyle(document.documentElement);
    const text = style.getPropertyValue("--pst-color-text-base").trim();
    const line = style.getPropertyValue("--pst-color-border").trim();
    document.querySelectorAll(".pat-plotly .js-plotly-plot").forEach((figure) => {
      const change = { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", "font.color": text };
      Object.keys(figure.layout || {})
        .filter((key) => /^[xy]axis\d*$/.test(key))
        .forEach((axis) => {
          change[axis + ".gridcolor"] = line;
          change[axis + ".zerolinecolor"] = line;
        });
      window.Plotly.relayout(figure, change);
    });
  }
  window.addEventListener("load", paint);
  new MutationObserver(paint).observe(document.documentElement, { attributeFilter: ["data-theme"] });
})();
