// Elements, made without HTML from text: a label can hold anything.

const byId = (id) => document.getElementById(id);

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== false && value !== null) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

// A name from outside, of any script: it does not turn round what stands beside it.
const named = (text) => element("bdi", {}, text);

// Said to whoever hears the page instead of seeing it; several lines are said one after the other.
const saying = [];
function say(text) {
  saying.push(text);
  if (saying.length === 1) setTimeout(sayNext, 50);
}
function sayNext() {
  if (!saying.length) return;
  byId("said").textContent = saying.splice(0, 4).join(" ");
  setTimeout(sayNext, 1500);
}
