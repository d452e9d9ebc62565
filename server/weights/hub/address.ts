/** How models of the hub are named: `owner/name`, `owner/name@revision`, and where the hub is. */
import { UsageError } from '../../errors';

export const PUBLIC_HUB = 'https://huggingface.co';

export interface Repository {
  readonly repository: string;
  /** A branch, a tag, a commit, or `refs/pr/N`. */
  readonly revision: string;
}

/** @throws UsageError for anything that is no repository's name. */
export function parseRepository(text: string): Repository {
  const [repository = '', revision = 'main', ...more] = text.split('@');
  const part = String.raw`\w[\w.-]{0,95}`;
  const known = new RegExp(`^${part}(?:/${part})?$`).test(repository) && !/\.\.|--/.test(repository);
  if (!known || more.length > 0) {
    throw new UsageError(
      `'${text}' is no model: give owner/name as on the hub (google/flan-ul2), owner/name@revision, or a folder.`,
    );
  }
  if (!/^\w[\w./-]{0,200}$/.test(revision) || revision.includes('..')) {
    throw new UsageError(`'${revision}' is no revision: give a branch, a tag, a commit, or refs/pr/N.`);
  }
  return { repository, revision };
}

/** The name under which a model is installed. @throws UsageError for one that could not be a folder's name everywhere. */
export function installName(name: string): string {
  const reserved = /^(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)|\.(?:tmp|old|lock)$|\.$/i;
  if (!/^\w[\w.-]{0,95}$/.test(name) || reserved.test(name)) {
    throw new UsageError(`'${name}' cannot be the name of a model: letters, digits, dots, dashes and underscores can.`);
  }
  return name;
}

/** The hub's address without a slash at its end. @throws UsageError */
export function hubAddress(url: string | undefined, env: NodeJS.ProcessEnv): string {
  const given = url || env['HF_ENDPOINT'] || PUBLIC_HUB;
  let parsed: URL;
  try {
    parsed = new URL(given);
  } catch {
    throw new UsageError(`'${given}' is no address of a hub: give one as ${PUBLIC_HUB}.`);
  }
  if (!/^https?:$/.test(parsed.protocol))
    throw new UsageError(`'${given}' is no address of a hub: http or https it is.`);
  // Addresses are shown and noted; what opens the hub is not.
  if (parsed.username !== '' || parsed.password !== '') {
    throw new UsageError(
      'The address of the hub holds a user name or password: leave it out, and use an access token.',
    );
  }
  return given.replace(/\/+$/, '');
}
