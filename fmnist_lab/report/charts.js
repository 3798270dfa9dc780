"use strict";
// Draws every chart in the colours of the page, again when these or the width change.
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 640px)");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const template = () => {
    const ink = colour("--ink"), line = colour("--line"), card = colour("--card");
    const axis = {
      automargin: true, gridcolor: line, linecolor: line, zerolinecolor: line, tickcolor: line,
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
        parcoords: [{
          labelfont: { color: ink }, tickfont: { color: ink }, rangefont: { color: "rgba(0,0,0,0)" },
          unselected: { line: { color: line, opacity: 0.4 } },
        }],
      },
    };
  };

  const legend = (figure) => {
    const names = figure.data.filter((trace) => trace.name && trace.showlegend !== false);
    const perRow = narrow.matches ? 2 : 6;
    const room = names.length > 1 ? 20 * Math.ceil(names.length / perRow) + 10 : 0;
    const look = {
      orientation: "h", yref: "container", y: 0, yanchor: "bottom", x: 0, xanchor: "left",
      entrywidth: narrow.matches ? 130 : 145,
    };
    return [room, { showlegend: names.length > 1, legend: look }];
  };

  const draw = (element) => {
    const figure = element.figure;
    const [room, look] = legend(figure);
    const given = figure.layout;
    const margin = { t: 12, r: 12, b: 52 + room, l: narrow.matches ? 40 : 60, ...given.margin };
    const layout = { ...given, ...look, template: template(), height: given.height + room, margin };
    const options = { responsive: true, displaylogo: false, displayModeBar: narrow.matches ? false : "hover" };
    // A drag on a phone is for scrolling.
    layout.dragmode = narrow.matches ? false : given.dragmode;
    Plotly.react(element, structuredClone(figure.data), layout, options);
  };

  const charts = [...document.querySelectorAll(".chart")];
  for (const element of charts) {
    const source = element.querySelector("script");
    element.figure = JSON.parse(source.textContent);
    source.remove();
    draw(element);
  }
  for (const change of [dark, narrow]) change.addEventListener("change", () => charts.forEach(draw));
})();
