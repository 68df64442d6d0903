// Verifies a final packet with what everyone sees of it:  node docs/verify.mjs http://127.0.0.1:8000 TOKEN PACKET
// Exit status: 0 all match, 1 something does not, 2 it could not be verified.
globalThis.crypto ??= (await import("node:crypto")).webcrypto; // which browsers have, and node from 20 on
const given = process.argv.slice(2);
const [url, token, id] = given;

function giveUp(why) {
  console.error(`Not verified: ${why}`);
  process.exit(2);
}
process.on("uncaughtException", (error) => giveUp(`what answers at ${url} is no redpacket (${error.message})`));

const { commitment, splitAmounts } = await import("./split.mjs").catch(() => giveUp("split.mjs is not beside this script"));

async function get(path) {
  const asked = `${url.replace(/\/+$/, "")}/v1/packets/${encodeURIComponent(id)}${path}`;
  const answer = await fetch(asked, { headers: { Authorization: `Bearer ${token}` } }).catch((error) =>
    giveUp(`the service at ${url} cannot be asked: ${error.cause?.message ?? error.message}`),
  );
  const text = await answer.text();
  if (!answer.ok) giveUp(`GET ${asked} is answered ${answer.status}: ${text}`);
  return JSON.parse(text);
}

if (given.length !== 3 || given.includes("")) giveUp("it takes a URL, a token and a packet: node docs/verify.mjs http://127.0.0.1:8000 TOKEN PACKET");
if (!/^https?:$/.test(URL.canParse(url) ? new URL(url).protocol : "")) giveUp(`${url} is no URL of a service, as http://127.0.0.1:8000 is`);
const packet = await get("");
if (!packet.seed) giveUp(`the packet is ${packet.state}: its seed is published once it is final`);
const claims = [];
for (let after = "0"; after !== null; ) {
  const page = await get(`/claims?limit=200&after=${after}`);
  claims.push(...page.claims);
  after = page.next;
}

const { kind, total, shares, cap, min, seed } = packet;
const split = { kind, total_minor: total, shares, cap_minor: cap, min_minor: min };
const amounts = await splitAmounts(seed, split);
const wrong = claims.filter(({ share, amount }) => amounts[share - 1] !== BigInt(amount));
const claimed = new Set(claims.map(({ share }) => share));
const left = amounts.filter((_, at) => !claimed.has(at + 1)).reduce((sum, amount) => sum + amount, 0n);
if ((await commitment(seed, split)) !== packet.commitment) wrong.push({ commitment: packet.commitment });
if (claimed.size !== claims.length || left !== BigInt(packet.refunded)) wrong.push({ refunded: packet.refunded });
if (new Set(claims.map(({ owner }) => owner)).size !== claims.length) wrong.push("somebody has two shares");
if ((packet.state === "sold_out") !== (claimed.size === shares)) wrong.push({ state: packet.state });
if (packet.remaining || packet.remaining_shares) wrong.push({ remaining: packet.remaining });
console.log(wrong.length ? wrong : `all match: ${claims.length} claims of ${shares} shares, ${left} refunded`);
process.exitCode = wrong.length ? 1 : 0;
