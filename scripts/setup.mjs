// Makes a checkout ready: installs the locked dependencies when they are missing or changed, and builds when sources are newer.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = join(dirname(fileURLToPath(import.meta.url)), '..');

/** Runs a command with its output on this terminal; ends this process with its exit code when it fails. */
export function must(command, args, options = {}) {
  // npm is a .cmd file on Windows, which only a shell can start.
  const shell = process.platform === 'win32' && command === 'npm';
  const { status, signal, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit', shell, ...options });
  if (status === 0) return;
  console.error(`\n${command} ${args.join(' ')}: ${error?.message ?? signal ?? `exit code ${status}`}`);
  process.exit(status ?? 1);
}

/** `npm ci`, unless node_modules already holds what package-lock.json says (npm keeps its own copy of the lock there). */
export function install(folder = root) {
  const [major = 0] = process.versions.node.split('.').map(Number);
  if (major < 20) {
    console.error(`Node ${process.versions.node} is too old: install Node 20 or newer, then run this again.`);
    process.exit(1);
  }
  if (sameLock(folder)) return;
  console.error('Installing dependencies…');
  must('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: folder });
}

function sameLock(folder) {
  const installed = join(folder, 'node_modules', '.package-lock.json');
  if (!existsSync(installed)) return false;
  const versions = (file) => {
    const { packages } = JSON.parse(readFileSync(file, 'utf8'));
    return Object.entries(packages).map(([path, { version, optional }]) => [path, version, optional]);
  };
  const have = new Map(versions(installed).map(([path, version]) => [path, version]));
  // Optional packages of other platforms are in the lock and rightly not installed.
  return versions(join(folder, 'package-lock.json')).every(
    ([path, version, optional]) => path === '' || have.get(path) === version || (optional && !have.has(path)),
  );
}

/** Builds dist/, unless it is newer than every source. */
export function buildIfStale() {
  const built = join(root, 'dist', 'cli.js');
  const sources = ['src', 'server', 'media', 'esbuild.mjs', 'package.json'].map((name) => join(root, name));
  if (existsSync(built) && newest(sources) <= statSync(built).mtimeMs) return;
  must(process.execPath, ['esbuild.mjs']);
}

function newest(paths) {
  let latest = 0;
  for (const path of paths) {
    const stat = statSync(path);
    const time = stat.isDirectory() ? newest(readdirSync(path).map((name) => join(path, name))) : stat.mtimeMs;
    latest = Math.max(latest, time);
  }
  return latest;
}
