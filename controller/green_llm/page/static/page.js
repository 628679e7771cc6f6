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

const focusable = () => [...main.querySelectorAll("a, button, select, input, summary, [tabindex]")];
const frames = () => [...main.querySelectorAll(".scroll")];

// Put what is new in the place of what is there; what was open, in focus or scrolled to stays so.
function replaceBy(fresh) {
  for (const open of main.querySelectorAll("details[open][id]")) fresh.querySelector(`#${CSS.escape(open.id)}`)?.setAttribute("open", "");
  const focus = focusable().indexOf(document.activeElement);
  const places = frames().map((frame) => [frame.scrollLeft, frame.scrollTop]);
  main.replaceChildren(...fresh.childNodes);
  Object.assign(main.dataset, { at: fresh.dataset.at, trouble: fresh.dataset.trouble });
  frames().forEach((frame, place) => { if (places[place]) [frame.scrollLeft, frame.scrollTop] = places[place]; });
  if (focus >= 0) focusable()[focus]?.focus({ preventScroll: true });
  draw();
}

async function ask(address) {
  const answer = await fetch(address, { signal: AbortSignal.timeout(PERIOD_MILLISECONDS) });
  if (answer.status !== 404 && !answer.ok) throw new Error(answer.statusText);
  return answer;
}

async function update() {
  if (document.hidden) return;
  if ("nothing" in main.dataset) {
    if ((await ask(location.href)).ok) location.reload();
    return;
  }
  if (live.getAttribute("aria-pressed") !== "true") return;
  if (main.contains(document.activeElement) && document.activeElement.matches("select, input")) return;
  const index = await (await ask("/api/v1")).json();
  found();
  const policy = index.policies.find((entry) => entry.name === main.dataset.policy);
  if (policy && Date.parse(policy.at) === Date.parse(main.dataset.at) && (policy.trouble ?? "") === main.dataset.trouble) return;
  const page = new DOMParser().parseFromString(await (await ask(location.href)).text(), "text/html");
  const fresh = page.getElementById("main");
  if (!fresh.dataset.at) return location.reload();
  replaceBy(fresh);
  said.textContent = "Updated";
}

const pressed = () => live.getAttribute("aria-pressed") === "true";

function lost() {
  if (live.classList.contains("lost") || !pressed()) return;
  live.classList.add("lost");
  live.textContent = "No answer";
  said.className = "note bad";
  said.textContent = "The server does not answer: what is shown is what it said last.";
}

function found() {
  if (!live.classList.contains("lost")) return;
  live.classList.remove("lost");
  live.textContent = pressed() ? "Live" : "Paused";
  said.className = "hidden";
  said.textContent = "The server answers again";
}

if (main.dataset.at) {
  live.hidden = false;
  live.addEventListener("click", () => {
    live.setAttribute("aria-pressed", String(!pressed()));
    found();
    live.textContent = pressed() ? "Live" : "Paused";
  });
}
if (main.dataset.at || "nothing" in main.dataset) setInterval(() => update().catch(lost), PERIOD_MILLISECONDS);
for (const form of document.querySelectorAll("form.ask"))
  form.addEventListener("submit", () => { form.setAttribute("aria-busy", "true"); form.querySelector("button").textContent = "Working it out …"; });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
window.addEventListener("load", draw);
