/** The errors of model folders and weight files. Each message is one line: what is wrong, and what to do next. */
import { FlanError } from '../errors';
import type { Saying } from '../saying';

/** A field of `config.json` is missing, absurd, or asks for something that the engines cannot do. */
export class ConfigError extends FlanError {
  readonly field: string;

  constructor(field: string, message: string) {
    super('config', message);
    this.field = field;
  }
}

/** The folder holds a model of another architecture. */
export class UnsupportedModelError extends FlanError {
  constructor(message: Saying) {
    super('unsupported-model', message);
  }
}

/** The folder holds no model, or only a part of one. */
export class NotAModelError extends FlanError {
  constructor(message: Saying) {
    super('not-a-model', message);
  }
}

/** A safetensors file cannot be read: its header is damaged, or the file is cut short. */
export class SafetensorsError extends FlanError {
  readonly file: string;

  constructor(file: string, problem: string) {
    super('safetensors', `${file}: ${problem} Download this file again.`);
    this.file = file;
  }
}

/** A PyTorch file cannot be read: it is damaged, cut short, or holds more than tensors. */
export class TorchFileError extends FlanError {
  readonly file: string;

  constructor(file: string, problem: string) {
    super('torch-file', `${file}: ${problem} Download this file again, or take the model's safetensors files.`);
    this.file = file;
  }
}

/** A tensor is missing, has another shape or type than the architecture needs, or holds values that are no numbers. */
export class TensorError extends FlanError {
  readonly tensor: string;
  readonly file: string;

  constructor(tensor: string, file: string, problem: string) {
    super('tensor', `${file}: tensor ${tensor} ${problem}`);
    this.tensor = tensor;
    this.file = file;
  }
}

/** A weight file is damaged, incomplete, or of another model. It is never used. */
export class WeightFileError extends FlanError {
  readonly file: string;

  constructor(file: string, problem: string, options?: ErrorOptions) {
    super(
      'weight-file',
      `${file}: ${problem} Convert or download the model again (\`flan convert\`, \`flan pull\`).`,
      options,
    );
    this.file = file;
  }
}

/** There is not enough room on the disk for the converted weights. Nothing is left behind. */
export class DiskSpaceError extends FlanError {
  constructor(message: Saying, options?: ErrorOptions) {
    super('disk-full', message, options);
  }
}

/** The folder to write to holds something that is not ours to replace. */
export class OutputFolderError extends FlanError {
  constructor(message: string) {
    super('output-folder', message);
  }
}
