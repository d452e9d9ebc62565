/**
 * SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014; constants of Vigna's
 * public-domain `splitmix64.c`). Its state only counts, so the n-th draw of a seed is known without the ones before it:
 * a token's draw depends on the seed and the token's position, and on nothing that an engine or a batch could change.
 */
const GAMMA = 0x9e3779b97f4a7c15n;

/** The n-th (from 0) 64-bit output of the generator seeded with `seed`. */
export function splitmix64(seed: bigint, n: number): bigint {
  let z = BigInt.asUintN(64, seed + GAMMA * BigInt(n + 1));
  z = BigInt.asUintN(64, (z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n);
  z = BigInt.asUintN(64, (z ^ (z >> 27n)) * 0x94d049bb133111ebn);
  return z ^ (z >> 31n);
}

/** The n-th uniform of a seed, in [0, 1): the upper 53 bits, which a double holds exactly. */
export function uniform(seed: number, n: number): number {
  return Number(splitmix64(BigInt(seed), n) >> 11n) * 2 ** -53;
}
