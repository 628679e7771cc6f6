// Draws the page's plots in its colours, and keeps it up to date. Everything else is in the HTML.
"use strict";

const PERIOD_MILLISECONDS = 10000;
const main = document.getElementById("main");
const live = document.getElementById("live");
const said = document.getElementById("said");
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function plot(holder) {
  const figure = JSON.parse(document.getElementById(holder.dataset.plot).textContent);
  const line = style("--line");
  for (const trace of figure.data)
    if (trace.type === "heatmap") trace.colorscale = [[0, style("--heat-low")], [0.5, style("--heat-mid")], [1, style("--heat-high")]];
  const layout = Object.assign(figure.layout, {
    colorway: style("--plot").split(/\s+/), paper_bgcolor: "transparent", plot_bgcolor: "transparent",
    font: { color: style("--ink"), family: style("--font"), size: 13 },
  });
  for (const axis of [layout.xaxis, layout.yaxis]) Object.assign(axis, { gridcolor: line, zerolinecolor: line, linecolor: line });
  holder.replaceChildren();
  Plotly.newPlot(holder, figure.data, layout, { displayModeBar: false, responsive: true });
}

// A plot is drawn when it comes into view: the script is large, and the page is there without it.
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries.filter((entry) => entry.isIntersecting)) {
    seen.unobserve(entry.target);
    plot(entry.target);
  }
}, { rootMargin: "300px" });

function draw() {
  const holders = document.querySelectorAll("[data-plot]");
  if (!holders.length) return;
  if (window.Plotly) return holders.forEach((holder) => seen.observe(holder));
  const script = document.createElement("script");
  script.src = main.dataset.plotly;
  script.addEventListener("load", draw);
  document.head.append(script);
}

async function update() {
  if (live.getAttribute("aria-pressed") !== "true" || document.hidden) return;
  if (main.contains(document.activeElement) && document.activeElement.matches("select, input")) return;
  const index = await (await fetch("/api/v1")).json();
  const policy = index.policies.find((entry) => entry.name === main.dataset.policy);
  if (!policy || Date.parse(policy.at) === Date.parse(main.dataset.at)) return;
  const page = new DOMParser().parseFromString(await (await fetch(location.href)).text(), "text/html");
  const fresh = page.getElementById("main");
  if (!fresh.dataset.at) return;
  for (const open of main.querySelectorAll("details[open][id]")) page.getElementById(open.id)?.setAttribute("open", "");
  main.replaceChildren(...fresh.childNodes);
  main.dataset.at = fresh.dataset.at;
  draw();
  said.textContent = "Updated";
}

if (main.dataset.at) {
  live.hidden = false;
  live.addEventListener("click", () => {
    const on = live.getAttribute("aria-pressed") !== "true";
    live.setAttribute("aria-pressed", String(on));
    live.textContent = on ? "Live" : "Paused";
  });
  setInterval(() => update().catch(() => { said.textContent = "The server does not answer"; }), PERIOD_MILLISECONDS);
}
for (const form of document.querySelectorAll("form.ask"))
  form.addEventListener("submit", () => { form.setAttribute("aria-busy", "true"); form.querySelector("button").textContent = "Working it out …"; });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
window.addEventListener("load", draw);
