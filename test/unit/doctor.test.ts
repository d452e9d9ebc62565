// The report of what this machine can run: English as the command line prints it, and whole in Chinese.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import type { Candidate, Probe } from '../../server/engine/candidate';
import { candidates } from '../../server/engine/select';
import { flanPaths } from '../../server/paths';
import { doctorItems } from '../../server/runtime/doctor';
import { inEnglish, type Saying, say } from '../../server/saying';

const home = mkdtempSync(join(tmpdir(), 'flan-doctor-'));
afterAll(() => rmSync(home, { recursive: true, force: true }));

const chinese: Record<string, string> = JSON.parse(
  readFileSync(join(__dirname, '..', '..', 'l10n', 'bundle.l10n.zh-cn.json'), 'utf8'),
);

/** As the editor says it; what has no translation stands in angle brackets. */
function inChinese({ text, args }: Saying): string {
  const said = text === '{0}' ? text : (chinese[text] ?? `<${text}>`);
  return said.replaceAll(/\{(\d+)\}/g, (_, index: string) => {
    const arg = args[Number(index)] ?? '';
    return typeof arg === 'object' ? inChinese(arg) : String(arg);
  });
}

async function report(find: () => Candidate[]) {
  const items = await doctorItems(flanPaths(home), { find });
  return items.map(({ what, ok, detail, said }) => {
    expect(said && inEnglish(said.what)).toBe(what);
    expect(said && inEnglish(said.detail)).toBe(detail);
    return { what, ok, detail, chinese: said === undefined ? '' : inChinese(said.detail) };
  });
}

function candidate(name: Candidate['name'], probe: Probe): Candidate {
  return {
    name,
    several: true,
    probe: async () => probe,
    needBytes: () => 1e9,
    create: () => Promise.reject(new Error('not made')),
  };
}

it("gives the engines' own reasons in the editor's language, and the command line's as they were", async () => {
  const file = say('No NVIDIA driver is installed ({0} was not found). Install it, or choose another engine', 'x.so');
  const trial = say('the GPU driver failed in a trial ({0})', say('no answer in {0} s', 20));
  const [cuda, webgpu, cpu] = await report(() => [
    candidate('cuda', { ok: false, detail: inEnglish(file), said: file }),
    candidate('webgpu', { ok: false, detail: inEnglish(trial), said: trial }),
    candidate('cpu', {
      ok: true,
      detail: 'CPU X (2 threads)',
      said: say('{0} ({1} threads)', 'CPU X', 2),
      freeBytes: 8e9,
    }),
  ]);
  expect(cuda).toEqual({
    what: 'cuda',
    ok: false,
    detail: 'No NVIDIA driver is installed (x.so was not found). Install it, or choose another engine',
    chinese: '未安装 NVIDIA 驱动（未找到 x.so）。请安装驱动，或选择其他引擎',
  });
  expect(webgpu?.detail).toBe('the GPU driver failed in a trial (no answer in 20 s)');
  expect(webgpu?.chinese).toBe('GPU 驱动在试运行中失败（20 秒内无响应）');
  expect(cpu?.detail).toBe('CPU X (2 threads), 8.0 GB free');
  expect(cpu?.chinese).toBe('CPU X（2 个线程），可用 8.0 GB');
});

it('says all that it finds on this machine in both languages', async () => {
  for (const line of await report(candidates)) {
    expect(line.chinese, line.detail).not.toMatch(/<|[a-z] [a-z]+ [a-z]/);
  }
});
