// What a page of another origin can try against a node. Runs in the browser; `attack` tells what came of each attempt.

const BODY = '{"type": "gcounter", "operations": [{"op": "increment"}]}';

globalThis.attack = async ({ url, token }) => {
  const operations = `${url}/v1/groups/n/operations`;
  const auth = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const json = { ...auth, "content-type": "application/json" };
  const send = { method: "POST", credentials: "include" };
  const protocols = token === undefined ? ["coppice"] : ["coppice", `bearer.${token}`];
  return {
    read: await attempt(`${url}/v1/groups`, { headers: auth }),
    readWithCookie: await attempt(`${url}/v1/groups`, { credentials: "include" }),
    readOpaque: await attempt(`${url}/v1/groups`, { mode: "no-cors", credentials: "include" }),
    writeJson: await attempt(operations, { ...send, headers: json, body: BODY }),
    writeText: await attempt(operations, { ...send, mode: "no-cors", body: BODY }),
    writeForm: await attempt(operations, { ...send, mode: "no-cors", body: new URLSearchParams({ a: BODY }) }),
    delete: await attempt(`${url}/v1/groups/n`, { method: "DELETE", headers: auth, credentials: "include" }),
    stream: await settled(new EventSource(`${url}/v1/groups/n/watch`, { withCredentials: true }), "open"),
    socket: await settled(new WebSocket(`${url.replace("http", "ws")}/v1/watch`, protocols), "open"),
    script: await script(`${url}/v1/groups`),
    frame: await frame(`${url}/`),
    form: await form(operations),
  };
};

async function attempt(address, init) {
  try {
    const response = await fetch(address, init);
    return response.type === "opaque" ? "opaque" : `read ${response.status}`;
  } catch {
    return "blocked";
  }
}

function settled(target, good) {
  return new Promise((resolve) => {
    const end = (result) => {
      target.close?.();
      resolve(result);
    };
    target.addEventListener(good, () => end(good));
    target.addEventListener("error", () => end("blocked"));
  });
}

async function script(address) {
  const element = document.createElement("script");
  element.src = address;
  const result = settled(element, "load");
  document.head.append(element);
  return await result;
}

/** What is refused is an error page of an origin of its own: nothing of it can be read. */
async function frame(address) {
  const element = document.createElement("iframe");
  element.src = address;
  const loaded = settled(element, "load");
  document.body.append(element);
  await loaded;
  return element.contentDocument === null ? "blocked" : "readable";
}

/** A form that writes JSON, as plain text: the one body that needs no script. */
async function form(action) {
  const sink = document.createElement("iframe");
  sink.name = "sink";
  const element = document.createElement("form");
  Object.assign(element, { method: "post", enctype: "text/plain", target: "sink", action });
  const input = document.createElement("input");
  Object.assign(input, { name: BODY.slice(0, -1), value: "}" });
  element.append(input);
  document.body.append(sink, element);
  const answered = settled(sink, "load");
  element.submit();
  await answered;
  sink.remove();
  return "sent";
}
