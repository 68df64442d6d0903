// The split of a packet, recomputed: plain JavaScript for a browser or node, written from docs/split.md alone.
// A seed is 64 hex digits, parameters are {kind, total_minor, shares, cap_minor, min_minor}, amounts are BigInts.

const ascii = (text) => new TextEncoder().encode(text);
const sha256 = async (bytes) => new Uint8Array(await globalThis.crypto.subtle.digest("SHA-256", bytes));

export async function commitment(seed, { kind, total_minor, shares, cap_minor, min_minor }) {
  const lines = ["redpacket commitment", seed, kind, total_minor, shares, cap_minor, min_minor, ""];
  const digest = await sha256(ascii(lines.join("\n")));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function drawsFrom(seed) {
  const message = new Uint8Array(55);
  message.set(ascii("redpacket draw\n"));
  message.set(seed.match(/../g).map((pair) => parseInt(pair, 16)), 15);
  let counter = 0n;
  let words = [];
  return async function below(n) {
    for (;;) {
      if (words.length === 0) {
        new DataView(message.buffer).setBigUint64(47, counter++);
        const digest = new DataView((await sha256(message)).buffer);
        words = [0, 8, 16, 24].map((at) => digest.getBigUint64(at));
      }
      const word = words.shift();
      if (word < 2n ** 64n - (2n ** 64n % n)) return word % n;
    }
  };
}

export async function splitAmounts(seed, { kind, total_minor, shares, cap_minor, min_minor }) {
  if (kind === "equal") return Array(shares).fill(BigInt(total_minor) / BigInt(shares));
  const [min, cap, below, amounts] = [BigInt(min_minor), BigInt(cap_minor), drawsFrom(seed), []];
  let left = BigInt(total_minor);
  for (let m = BigInt(shares); m > 1n; m--) {
    const s = (2n * left + (await below(m))) / m;
    const lo = s - cap > min ? s - cap : min;
    const amount = lo + (await below(s - 2n * lo + 1n));
    amounts.push(amount);
    left -= amount;
  }
  amounts.push(left);
  for (let i = shares - 1; i > 0; i--) {
    const j = Number(await below(BigInt(i) + 1n));
    [amounts[i], amounts[j]] = [amounts[j], amounts[i]];
  }
  return amounts;
}
