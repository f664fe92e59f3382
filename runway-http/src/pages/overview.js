// Keeps the page as the server sees it. Every part comes as HTML that the server has escaped; what is the same is left alone, so that
// the focus, what is selected and what is folded out stay where they are.
"use strict";
const state = document.getElementById("state");

function update(old, next) {
  if (old.nodeType !== next.nodeType || old.nodeName !== next.nodeName) {
    old.replaceWith(next);
    return;
  }
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== next.data) old.data = next.data;
    return;
  }
  for (const { name, value } of next.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) {
    // Whoever folded it out wants to read it.
    if (!next.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
  updateChildren(old, next);
}

// Children that have an id are found again by it, others by their place.
function updateChildren(old, next) {
  const named = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
  let here = old.firstChild;
  for (const child of [...next.childNodes]) {
    const known = child.id ? named.get(child.id) : here && !here.id ? here : undefined;
    if (known === undefined) {
      old.insertBefore(child, here);
      continue;
    }
    if (known === here) here = here.nextSibling;
    else old.insertBefore(known, here);
    update(known, child);
  }
  while (here) {
    const rest = here.nextSibling;
    here.remove();
    here = rest;
  }
}

const events = new EventSource("overview/events");
events.onmessage = (event) => {
  const focused = document.activeElement;
  for (const [id, html] of Object.entries(JSON.parse(event.data))) {
    const part = document.getElementById(id);
    if (part) {
      const next = document.createElement("template");
      next.innerHTML = html;
      updateChildren(part, next.content);
    }
  }
  // What was moved has lost it.
  if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
};
events.onerror = () => {
  state.textContent = "The server does not answer. This is what was last known; it is tried again.";
};
