"use strict";
// Draws every chart in the colours of the page, again when these or the width change.
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 640px)");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const template = () => {
    const ink = colour("--ink"), line = colour("--line"), card = colour("--card");
    const axis = {
      automargin: true, title: { standoff: 10 }, gridcolor: line, linecolor: line, zerolinecolor: line, tickcolor: line,
    };
    return {
      layout: {
        paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
        font: { color: ink, family: "system-ui, sans-serif", size: narrow.matches ? 11 : 13 },
        hoverlabel: { bgcolor: card, bordercolor: line, font: { color: ink } },
        xaxis: axis, yaxis: axis,
        updatemenudefaults: { bgcolor: card, bordercolor: line, font: { color: ink } },
        modebar: { bgcolor: "rgba(0,0,0,0)", color: line, activecolor: ink },
      },
      data: {
        heatmap: [{ textfont: { color: ink } }],
        parcoords: [{
          labelfont: { color: ink }, tickfont: { color: ink }, rangefont: { color: "rgba(0,0,0,0)" },
          unselected: { line: { color: line, opacity: 0.4 } },
        }],
      },
    };
  };

  const draw = (element) => {
    const given = element.figure.layout;
    const margin = { t: 12, r: 12, b: 52, l: narrow.matches ? 40 : 60, ...given.margin };
    const layout = { ...structuredClone(given), margin, showlegend: false, template: template() };
    // A drag on a phone is for scrolling.
    if (narrow.matches) layout.dragmode = false;
    const options = { responsive: true, displaylogo: false, displayModeBar: narrow.matches ? false : "hover" };
    Plotly.react(element, element.figure.data, layout, options);
  };

  // plotly's own legend takes the chart's room, and on a phone most of it. Where lines are of
  // several cells, a button is a schedule, and a menu picks a cell, as schedules are compared in one.
  const legend = (element) => {
    const { data } = element.figure;
    const traces = data.filter((trace) => trace.name && trace.showlegend !== false);
    if (traces.length < 2) return;
    const key = ({ meta, name }) => meta?.schedule ?? name;
    const places = traces.filter((trace) => trace.meta).map((trace) => trace.meta);
    const inOrder = places.sort((one, other) => one.order - other.order);
    const cells = [...new Set(inOrder.map((meta) => meta.cell))];
    const menu = document.createElement("select");
    menu.append(...cells.map((cell) => new Option(cell)), new Option("all cells", ""));
    const hidden = new Set();
    const show = () => {
      const isInCell = ({ meta }) => cells.length < 2 || !menu.value || meta?.cell === menu.value;
      for (const trace of data) trace.visible = isInCell(trace) && !hidden.has(key(trace));
    };
    const list = document.createElement("div");
    list.className = "legend";
    traces.sort((one, other) => (one.legendrank ?? 0) - (other.legendrank ?? 0));
    for (const [name, { line, marker }] of new Map(traces.map((trace) => [key(trace), trace]))) {
      const button = document.createElement("button");
      const swatch = document.createElement("span");
      swatch.className = line ? "line" : "dot";
      swatch.style.color = (line ?? marker).color;
      swatch.style.borderTopStyle = { dash: "dashed", dot: "dotted" }[line?.dash] ?? "solid";
      button.append(swatch, name);
      button.setAttribute("aria-pressed", "true");
      button.addEventListener("click", () => {
        if (!hidden.delete(name)) hidden.add(name);
        button.setAttribute("aria-pressed", String(!hidden.has(name)));
        show();
        draw(element);
      });
      list.append(button);
    }
    element.parentElement.after(list);
    if (cells.length < 2) return;
    menu.addEventListener("change", () => {
      show();
      draw(element);
    });
    const label = document.createElement("label");
    label.className = "legend";
    label.append("cell", menu);
    element.parentElement.before(label);
    show();
  };

  const charts = [...document.querySelectorAll(".chart")];
  for (const element of charts) {
    const source = element.querySelector("script");
    element.figure = JSON.parse(source.textContent);
    source.remove();
    element.classList.toggle("wide", Boolean(element.figure.layout.meta?.wide));
    legend(element);
    draw(element);
  }
  for (const change of [dark, narrow]) change.addEventListener("change", () => charts.forEach(draw));
})();
