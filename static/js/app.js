/* Small conveniences; every page works without them. */
"use strict";
document.addEventListener("submit", (event) => {
  const form = event.target;
  const question = form.dataset.confirm;
  if (question && !window.confirm(question)) {
    event.preventDefault();
    return;
  }
  // A second click must not send a second request.
  for (const button of form.querySelectorAll("button[type=submit]")) {
    button.disabled = true;
    if (button.dataset.busy) button.textContent = button.dataset.busy;
  }
});
document.addEventListener("change", (event) => {
  if (event.target.matches("select[data-submit]")) event.target.form.requestSubmit();
});
// What was chosen before this script arrived: a page must show what its dropdown says.
for (const select of document.querySelectorAll("select[data-submit]")) {
  const shown = select.querySelector("option[selected]");
  if (shown && !shown.selected) select.form.requestSubmit();
}
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  navigator.clipboard.writeText(source.textContent.trim()).then(() => {
    button.textContent = "Copied";
  });
});
// A page that cannot be refreshed must not look as if it were.
const outOfTouch = document.getElementById("out-of-touch");
const silent = new Set();
let heardAt = new Date();
document.addEventListener("htmx:afterRequest", (event) => {
  if (!outOfTouch) return;
  if (event.detail.successful) {
    silent.delete(event.detail.elt.id);
    if (!silent.size) heardAt = new Date();
  } else {
    silent.add(event.detail.elt.id);
  }
  const inIndia = heardAt.toLocaleTimeString("en-GB", { timeZone: "Asia/Kolkata" });
  outOfTouch.querySelector("strong").textContent = `${inIndia} IST`;
  outOfTouch.hidden = !silent.size;
});
window.addEventListener("pageshow", (event) => {
  if (event.persisted) window.location.reload();
});
