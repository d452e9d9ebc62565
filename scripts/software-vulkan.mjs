// Makes a Vulkan adapter in software (Mesa's lavapipe), so that the WebGPU engine is tested on machines without a GPU.
// Prints `NAME=value` lines: the environment in which a process finds the adapter. Nothing is installed: on Debian and
// Ubuntu the packages are fetched through apt and unpacked in .cache/vulkan/, each step only when its result is missing.
// Exit code 1, with the reason on stderr, when no adapter can be had here.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const cache = join(root, '.cache', 'vulkan');
const unpacked = join(cache, 'root');
/** Debian 12's own Mesa 22.3 is too old: WebGPU finds no adapter in it. Mesa 25 works. */
const BACKPORTS = { bookworm: 'bookworm-backports' };

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    for (const [name, value] of Object.entries(softwareVulkan())) console.log(`${name}=${value}`);
  } catch (error) {
    console.error(`No software Vulkan adapter: ${error.message}`);
    process.exit(1);
  }
}

/** The environment variables of a process that is to find the software adapter. Throws when there is none to be had. */
export function softwareVulkan() {
  if (process.platform !== 'linux') throw new Error(`lavapipe is set up on Linux only, not on ${process.platform}.`);
  const manifest = existing(join(unpacked, 'usr/share/vulkan/icd.d')) ?? fetched();
  const library = findLibrary(manifest);
  // The manifest in the package names a library of the system: ours has the path of the unpacked one.
  const own = join(cache, 'icd.json');
  const { ICD, ...rest } = JSON.parse(readFileSync(manifest, 'utf8'));
  writeFileSync(own, JSON.stringify({ ...rest, ICD: { ...ICD, library_path: library } }));
  // Without a private runtime folder the driver complains; the shader cache saves 3 to 30 seconds a shader.
  const runtime = join(cache, 'runtime');
  const shaders = join(cache, 'shaders');
  mkdirSync(runtime, { recursive: true, mode: 0o700 });
  mkdirSync(shaders, { recursive: true });
  return {
    VK_ICD_FILENAMES: own,
    LD_LIBRARY_PATH: [dirname(library), process.env.LD_LIBRARY_PATH].filter(Boolean).join(':'),
    XDG_RUNTIME_DIR: runtime,
    MESA_SHADER_CACHE_DIR: shaders,
  };
}

function existing(folder) {
  if (!existsSync(folder)) return undefined;
  const name = readdirSync(folder).find((file) => /^lvp_icd.*\.json$/.test(file));
  return name === undefined ? undefined : join(folder, name);
}

function findLibrary(manifest) {
  const { ICD } = JSON.parse(readFileSync(manifest, 'utf8'));
  const name = ICD.library_path.split('/').pop();
  for (const folder of readdirSync(join(unpacked, 'usr/lib'), { recursive: true, withFileTypes: true })) {
    if (folder.name === name) return resolve(folder.parentPath ?? folder.path, name);
  }
  throw new Error(`the driver package holds no ${name}.`);
}

/** Fetches and unpacks the driver, the loader, and what they need that this machine lacks. */
function fetched() {
  for (const tool of ['apt-get', 'dpkg-deb']) {
    if (spawnSync(tool, ['--version']).status !== 0) throw new Error(`${tool} is needed (Debian or Ubuntu).`);
  }
  const release = readFileSync('/etc/os-release', 'utf8').match(/^VERSION_CODENAME=(.*)$/m)?.[1] ?? '';
  const apt = join(cache, 'apt');
  const lists = join(apt, 'lists');
  const archives = join(apt, 'archives');
  mkdirSync(join(lists, 'partial'), { recursive: true });
  mkdirSync(join(archives, 'partial'), { recursive: true });
  const sources = join(apt, 'sources.list');
  writeFileSync(sources, sourceLines(release));
  // apt with folders of its own: the machine's package lists and locks stay as they are, and it need not be root.
  const options = [
    ...['-o', `Dir::Etc::sourcelist=${sources}`, '-o', 'Dir::Etc::sourceparts=-', '-o', `Dir::State::lists=${lists}`],
    ...['-o', `Dir::Cache=${apt}`, '-o', `Dir::Cache::archives=${archives}`, '-o', 'Debug::NoLocking=1'],
    ...['-o', 'APT::Sandbox::User=', '-q', '-y'],
  ];
  apt_get([...options, 'update']);
  const from = BACKPORTS[release] ? ['-t', BACKPORTS[release]] : [];
  const wanted = ['mesa-vulkan-drivers', 'libvulkan1'];
  apt_get([...options, 'install', '--download-only', '--reinstall', '--no-install-recommends', ...from, ...wanted]);

  const partial = `${unpacked}.partial`;
  rmSync(partial, { recursive: true, force: true });
  for (const file of readdirSync(archives).filter((name) => name.endsWith('.deb'))) {
    must('dpkg-deb', ['-x', join(archives, file), partial]);
  }
  rmSync(unpacked, { recursive: true, force: true });
  renameSync(partial, unpacked);
  rmSync(apt, { recursive: true, force: true });
  const manifest = existing(join(unpacked, 'usr/share/vulkan/icd.d'));
  if (manifest === undefined) throw new Error('the packages hold no lavapipe driver.');
  return manifest;
}

/** The machine's own sources for its release, and the same archive's backports. */
function sourceLines(release) {
  const format = '$(REPO_URI) $(RELEASE) $(COMPONENT)';
  const { stdout } = spawnSync('apt-get', ['indextargets', '--format', format, 'Created-By: Packages'], {
    encoding: 'utf8',
  });
  const lines = new Set();
  const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg';
  const how = existsSync(keyring) ? `[signed-by=${keyring}] ` : '';
  for (const line of stdout.split('\n')) {
    const [uri, suite, component] = line.trim().split(/\s+/);
    if (!uri || !suite.startsWith(release) || component !== 'main') continue;
    lines.add(`deb ${how}${uri} ${suite} ${component}`);
    if (BACKPORTS[release] && suite === release) lines.add(`deb ${how}${uri} ${BACKPORTS[release]} ${component}`);
  }
  if (lines.size === 0) throw new Error('apt has no package source for this release.');
  return `${[...lines].join('\n')}\n`;
}

function apt_get(args) {
  must('apt-get', args);
}

function must(command, args) {
  const { status, stderr, stdout, error } = spawnSync(command, args, {
    encoding: 'utf8',
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  });
  if (status === 0) return;
  const reason =
    error?.message ??
    `${stderr}${stdout}`
      .trim()
      .split('\n')
      .find((line) => /^E:/.test(line)) ??
    `exit ${status}`;
  throw new Error(`${command} ${args.filter((arg) => !arg.includes('::')).join(' ')}: ${reason}`);
}
