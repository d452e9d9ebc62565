/** `npm run fuzz [COUNT] [SEED]`: tries all readers with COUNT damaged inputs, 120,000 unless said otherwise. */
import { allTargets, fuzz } from './fuzz';

async function main(): Promise<void> {
  const [count = '120000', given] = process.argv.slice(2);
  const seed = given === undefined ? Math.floor(Math.random() * 1e9) : Number(given);
  console.log(`seed ${seed} (npm run fuzz -- ${count} ${seed} tries the same again)`);
  const { targets, dispose } = await allTargets();
  let bad = 0;
  try {
    for (const [target, share] of targets) {
      const start = performance.now();
      const { tried, refused, found, slowestMs } = await fuzz(target, Math.ceil((Number(count) * share) / 100), seed);
      const seconds = ((performance.now() - start) / 1000).toFixed(1);
      console.log(
        `${target.name}: ${tried} tried, ${refused} refused, ${tried - refused - found.length} sound, ${seconds} s, slowest ${slowestMs.toFixed(1)} ms`,
      );
      for (const line of found) console.error(`  FOUND: ${line}`);
      bad += found.length;
    }
  } finally {
    dispose();
  }
  console.log(`peak memory ${(process.resourceUsage().maxRSS / 1000).toFixed(0)} MB`);
  if (bad > 0) process.exitCode = 1;
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
