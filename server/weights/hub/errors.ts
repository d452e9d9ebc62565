/** What can go wrong between the hub and the disk. Each message is one line: what happened, and what to do next. */
import { FlanError } from '../../errors';
import { type Saying, say } from '../../saying';

/** The repository is private or gated: a token is needed, or this one may not read it. */
export class HubTokenError extends FlanError {
  constructor(repository: string, hub: string, reason: 'none' | 'refused' | 'gated') {
    const page = `${hub}/${repository}`;
    const what = {
      none: say(
        '{0} is private, gated, or not there. Check its name; to read it, an access token is needed (HF_TOKEN).',
        repository,
      ),
      refused: say(
        '{0} is not there, or your access token may not read it. Check its name and the token (HF_TOKEN).',
        repository,
      ),
      gated: say(
        '{0} is gated: accept its terms on {1}, then use an access token of that account (HF_TOKEN).',
        repository,
        page,
      ),
    };
    super('hub-token', what[reason]);
  }
}

/** No such repository, revision or file. */
export class HubUnknownError extends FlanError {
  constructor(message: Saying) {
    super('hub-unknown', message);
  }
}

/** The hub cannot be reached at all. */
export class HubOfflineError extends FlanError {
  constructor(host: string, reason: Saying, options?: ErrorOptions) {
    super(
      'hub-offline',
      say('{0} cannot be reached ({1}). Check the connection and the proxy, then try again.', host, reason),
      options,
    );
  }
}

/** The connection failed more often than it is worth trying again at once. */
export class HubLineError extends FlanError {
  constructor(what: string | Saying, reason: Saying, options?: ErrorOptions) {
    super(
      'hub-line',
      say(
        '{0} could not be downloaded ({1}). Try again: what was fetched is kept, and the download goes on from there.',
        what,
        reason,
      ),
      options,
    );
  }
}

/** What arrived is not what the hub lists, also when it was fetched again. */
export class HubChecksumError extends FlanError {
  readonly file: string;

  constructor(file: string) {
    super(
      'hub-checksum',
      say(
        '{0}: its checksum is not the one that the hub lists, each time it was fetched. The hub or something on the way changes it; try again later, or over another line.',
        file,
      ),
    );
    this.file = file;
  }
}

/** A file was changed on the hub while it was read, or two readings of it differ. */
export class HubChangedError extends FlanError {
  readonly file: string;

  constructor(file: string) {
    super(
      'hub-changed',
      say('{0} came differently at two times: it changed on the hub, or on the way. Try again.', file),
    );
    this.file = file;
  }
}

/** Another model is installed under the name. */
export class ModelExistsError extends FlanError {
  constructor(name: string, dir: string) {
    super(
      'model-exists',
      say('{0} holds another model and is left as it is. Remove that one, or choose another name than {1}.', dir, name),
    );
  }
}

/** The model is being pulled at this moment. */
export class PullRunsError extends FlanError {
  constructor(name: string, pid: number) {
    super('pull-runs', say('{0} is being installed at this moment (process {1}). Stop that first.', name, `${pid}`));
  }
}

/** Not for users: the server sends whole files only, so that they have to be fetched in another way. */
export class NoRangesError extends FlanError {
  constructor(file: string) {
    super('hub-no-ranges', `${file} is sent only as a whole.`);
  }
}
