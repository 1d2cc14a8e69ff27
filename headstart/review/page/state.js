// What the page knows, and how it asks the service.

const SIZE = 200;
const shown = { facts: null, items: [], from: 0, total: 0, kind: "", generation: 0, number: 0, marked: 0, mine: [], waits: false };

// An answer, whatever its status. The token is asked for where it is needed.
function ask(path) {
  return authorised(() => service.get(`v1/review${path}`));
}

function tell(path, body) {
  return authorised(async () => {
    let answer;
    try {
      answer = await fetch(service.address(`v1/review${path}`), {
        method: "POST",
        headers: service.headers({ "Content-Type": "application/json" }),
        body: JSON.stringify(body),
      });
    } catch {
      throw new Gone();
    }
    return { status: answer.status, body: await answer.json().catch(() => null), retryAfter: null };
  });
}

// Done, or said why not: null where the service is gone or refuses.
async function told(asking) {
  try {
    const answer = await asking;
    if (answer.status >= 200 && answer.status < 300 && answer.body) {
      byId("state").hidden = true;
      return answer.body;
    }
    complain(problemOf(answer));
  } catch (error) {
    if (!(error instanceof Gone)) throw error;
    complain(GONE);
  }
  return null;
}

function complain(text) {
  byId("state-text").textContent = text;
  byId("state").hidden = false;
  byId("state").scrollIntoView({ block: "nearest" });
}

const classes = () => shown.facts.classes;

function learnClass(name) {
  if (name && !classes().includes(name)) {
    classes().push(name);
    showKeys();
  }
}
