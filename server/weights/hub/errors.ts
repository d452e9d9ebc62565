/** What can go wrong between the hub and the disk. Each message is one line: what happened, and what to do next. */
import { FlanError } from '../../errors';

/** The repository is private or gated: a token is needed, or this one may not read it. */
export class HubTokenError extends FlanError {
  constructor(repository: string, hub: string, reason: 'none' | 'refused' | 'gated') {
    const what = {
      none: `${repository} is private, gated, or not there. Check its name; to read it, an access token is needed (HF_TOKEN).`,
      refused: `${repository} is not there, or your access token may not read it. Check its name and the token (HF_TOKEN).`,
      gated: `${repository} is gated: accept its terms on ${hub}/${repository}, then use an access token of that account (HF_TOKEN).`,
    };
    super('hub-token', what[reason]);
  }
}

/** No such repository, revision or file. */
export class HubUnknownError extends FlanError {
  constructor(message: string) {
    super('hub-unknown', message);
  }
}

/** The hub cannot be reached at all. */
export class HubOfflineError extends FlanError {
  constructor(host: string, reason: string, options?: ErrorOptions) {
    super(
      'hub-offline',
      `${host} cannot be reached (${reason}). Check the connection and the proxy, then try again.`,
      options,
    );
  }
}

/** The connection failed more often than it is worth trying again at once. */
export class HubLineError extends FlanError {
  constructor(what: string, reason: string, options?: ErrorOptions) {
    super(
      'hub-line',
      `${what} could not be downloaded (${reason}). Try again: what was fetched is kept, and the download goes on from there.`,
      options,
    );
  }
}

/** What arrived is not what the hub lists, also when it was fetched again. */
export class HubChecksumError extends FlanError {
  readonly file: string;

  constructor(file: string, problem: string) {
    super(
      'hub-checksum',
      `${file}: ${problem}, each time it was fetched. The hub or something on the way changes it; try again later, or over another line.`,
    );
    this.file = file;
  }
}

/** A file was changed on the hub while it was read, or two readings of it differ. */
export class HubChangedError extends FlanError {
  readonly file: string;

  constructor(file: string) {
    super('hub-changed', `${file} came differently at two times: it changed on the hub, or on the way. Try again.`);
    this.file = file;
  }
}

/** Another model is installed under the name. */
export class ModelExistsError extends FlanError {
  constructor(name: string, dir: string) {
    super(
      'model-exists',
      `${dir} holds another model and is left as it is. Remove that one, or choose another name than ${name}.`,
    );
  }
}

/** The model is being pulled at this moment. */
export class PullRunsError extends FlanError {
  constructor(name: string, pid: number) {
    super('pull-runs', `${name} is being installed at this moment (process ${pid}). Stop that first.`);
  }
}

/** Not for users: the server sends whole files only, so that they have to be fetched in another way. */
export class NoRangesError extends FlanError {
  constructor(file: string) {
    super('hub-no-ranges', `${file} is sent only as a whole.`);
  }
}
