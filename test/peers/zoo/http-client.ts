// test peers · Node's own HTTP clients: node http-client.ts fetch|http|h2c HOST PORT COUNT prints each answer on a line.
import { Agent, request } from "node:http";
import { connect } from "node:http2";
import { text } from "node:stream/consumers";

const [client, host = "", port = "", count = "0"] = process.argv.slice(2);
const origin = `http://${host}:${port}`;
const agent = new Agent({ keepAlive: true });
const session = client === "h2c" ? connect(origin) : undefined;

async function byFetch(call: number): Promise<string> {
  const answer = await fetch(`${origin}/call/${call}`, { method: "POST", body: `body ${call}` });
  return `${answer.status} ${await answer.text()}`;
}

function byHttp(call: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const asked = request(`${origin}/call/${call}`, { method: "POST", agent }, async (answer) => {
      resolve(`${answer.statusCode} ${answer.httpVersion} ${await text(answer)}`);
    });
    asked.on("error", reject);
    asked.end(`body ${call}`);
  });
}

async function byHttp2(call: number): Promise<string> {
  if (session === undefined) throw new Error("no session");
  const stream = session.request({ ":method": "POST", ":path": `/call/${call}` });
  stream.end(`body ${call}`);
  return text(stream);
}

const one = client === "fetch" ? byFetch : client === "http" ? byHttp : byHttp2;
for (let call = 0; call < Number(count); call += 1) process.stdout.write(`${await one(call)}\n`);
agent.destroy();
session?.close();
