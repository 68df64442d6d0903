// Verifies a final packet with what everyone sees of it:  node docs/verify.mjs http://127.0.0.1:8000 TOKEN PACKET
import { commitment, splitAmounts } from "./split.mjs";

globalThis.crypto ??= (await import("node:crypto")).webcrypto; // which browsers have, and node from 20 on
const [url, token, id] = process.argv.slice(2);

async function get(path) {
  const answer = await fetch(`${url}/v1/packets/${encodeURIComponent(id)}${path}`, { headers: { Authorization: `Bearer ${token}` } });
  if (!answer.ok) throw new Error(`${answer.status}: ${await answer.text()}`);
  return answer.json();
}

const packet = await get("");
if (!packet.seed) throw new Error(`the packet is ${packet.state}: its seed is published once it is final`);
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
