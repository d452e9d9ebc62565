import * as vscode from 'vscode';
import { Method, type ModelInfo, type Progress, type PromptCount, type RunResult } from '../../server/protocol';
import type { Server } from '../client';
import { messageOf } from '../errors';
import { explainError } from '../remedies';
import type { Settings } from '../settings';
import { promptOf, type Spoken } from './render';

/** Also in `languageModelChatProviders` of package.json. */
const VENDOR = 'flan';
/** The user's own choice of model, whatever that is at the time of a request. */
const AUTOMATIC = 'automatic';
/** What every model of the family reads; said of a model that was not asked yet. */
const SURELY_READ = 512;

export interface ChatDependencies {
  readonly server: Server;
  readonly settings: () => Settings;
  readonly log: vscode.LogOutputChannel;
}

/** Offers the installed models to the editor's chat and to other extensions. Nothing, where the editor has no such API. */
export function registerChatModels(deps: ChatDependencies): vscode.Disposable {
  // Editors built on an older base say that they are new enough, and lack it.
  if (typeof vscode.lm?.registerLanguageModelChatProvider !== 'function') return new vscode.Disposable(() => undefined);
  const models = new ChatModels(deps);
  return vscode.Disposable.from(models, vscode.lm.registerLanguageModelChatProvider(VENDOR, models));
}

class ChatModels implements vscode.LanguageModelChatProvider, vscode.Disposable {
  private readonly deps: ChatDependencies;
  private readonly changeEmitter = new vscode.EventEmitter<void>();
  readonly onDidChangeLanguageModelChatInformation = this.changeEmitter.event;
  private readonly subscription: vscode.Disposable;
  private readonly windows = new Map<string, number>();
  /** As last heard: models stay in the editor's list while the server rests. */
  private installed: readonly ModelInfo[] | undefined;
  private running = false;

  constructor(deps: ChatDependencies) {
    this.deps = deps;
    this.subscription = deps.server.onDidChangeState(({ kind }) => {
      const running = kind === 'on';
      if (running && !this.running) this.changeEmitter.fire();
      this.running = running;
    });
  }

  /** The editor's silent question must not start the server: until somebody asked something, one entry stands for all. */
  async provideLanguageModelChatInformation({
    silent,
  }: vscode.PrepareLanguageModelChatModelOptions): Promise<vscode.LanguageModelChatInformation[]> {
    const { server, log } = this.deps;
    if (!silent) this.installed = await server.models();
    else if (server.state.kind === 'on') {
      this.installed = await server.models().catch((error: unknown) => {
        log.warn(`chat: ${messageOf(error)}`);
        return this.installed;
      });
    }
    const listed = [this.automatic(this.installed)];
    for (const model of this.installed ?? []) {
      // A checkpoint that was never converted would take minutes at its first word.
      if (model.form === 'pre-quantized') listed.push(await this.described(model, silent));
    }
    return listed;
  }

  async provideLanguageModelChatResponse(
    { id, maxInputTokens }: vscode.LanguageModelChatInformation,
    messages: readonly vscode.LanguageModelChatRequestMessage[],
    { tools, toolMode }: vscode.ProvideLanguageModelChatResponseOptions,
    progress: vscode.Progress<vscode.LanguageModelResponsePart>,
    token: vscode.CancellationToken,
  ): Promise<void> {
    if (toolMode === vscode.LanguageModelChatToolMode.Required && (tools?.length ?? 0) > 0) {
      throw new Error(vscode.l10n.t('Models of the Flan family cannot call tools.'));
    }
    const text = promptOf(messages.map(spoken));
    const window = (await this.windowOf(id)) ?? maxInputTokens;
    const tokens = await this.tokensIn(id, text, token);
    if (tokens > window) {
      throw new Error(
        vscode.l10n.t(
          'The prompt has {0} tokens and the model reads {1}. Nothing was cut: shorten the prompt.',
          tokens,
          window,
        ),
      );
    }
    const { engine, maxNewTokens } = this.deps.settings();
    let said = '';
    const say = (part: string): void => {
      said += part;
      if (part !== '') progress.report(new vscode.LanguageModelTextPart(part));
    };
    try {
      const result = await this.deps.server.request<RunResult, Progress>(
        Method.run,
        { task: 'generate', text, engine, maxNewTokens, ...this.choice(id) },
        (part) => {
          if (part.kind === 'text') say(part.append);
        },
        token,
      );
      // What was written but not streamed, such as an answer that was complete at once.
      if (result.text.startsWith(said)) say(result.text.slice(said.length));
    } catch (error) {
      if (token.isCancellationRequested) return;
      this.deps.log.error(`chat: ${messageOf(error)}`);
      throw new Error(explainError(error));
    }
  }

  provideTokenCount(
    { id }: vscode.LanguageModelChatInformation,
    text: string | vscode.LanguageModelChatRequestMessage,
    token: vscode.CancellationToken,
  ): Promise<number> {
    return this.tokensIn(id, typeof text === 'string' ? text : spoken(text).text, token);
  }

  dispose(): void {
    this.subscription.dispose();
    this.changeEmitter.dispose();
  }

  private automatic(installed: readonly ModelInfo[] | undefined): vscode.LanguageModelChatInformation {
    const { model } = this.deps.settings();
    const only = installed?.length === 1 ? installed[0] : installed?.find(({ name }) => name === model);
    return {
      ...this.base(AUTOMATIC, `Flan · ${model ?? vscode.l10n.t('the best installed model')}`),
      ...(only?.demo === true ? { detail: vscode.l10n.t('demonstration model') } : {}),
      tooltip: vscode.l10n.t('Runs on this machine. Short answers to short prompts; no tools, no images.'),
    };
  }

  private async described({ name, demo }: ModelInfo, silent: boolean): Promise<vscode.LanguageModelChatInformation> {
    const known = this.windows.get(name);
    const window = silent && this.deps.server.state.kind !== 'on' ? known : (known ?? (await this.windowOf(name)));
    return {
      ...this.base(name, name),
      ...(window === undefined ? {} : { maxInputTokens: window }),
      ...(demo ? { detail: vscode.l10n.t('demonstration model') } : {}),
      tooltip: demo
        ? vscode.l10n.t('A small model that only shows how the product works: expect little of it.')
        : vscode.l10n.t('Runs on this machine. Short answers to short prompts; no tools, no images.'),
    };
  }

  private base(id: string, name: string): vscode.LanguageModelChatInformation {
    return {
      id,
      name,
      family: 'flan',
      version: '1',
      maxInputTokens: SURELY_READ,
      maxOutputTokens: this.deps.settings().maxNewTokens,
      capabilities: { toolCalling: false, imageInput: false },
    };
  }

  private choice(id: string): { model?: string } {
    const model = id === AUTOMATIC ? this.deps.settings().model : id;
    return model === undefined ? {} : { model };
  }

  /** Undefined when the model's tokenizer cannot be read. */
  private async windowOf(id: string): Promise<number | undefined> {
    const key = this.choice(id).model ?? '';
    const known = this.windows.get(key);
    if (known !== undefined) return known;
    try {
      const { window } = await this.count(id, '', undefined);
      this.windows.set(key, window);
      return window;
    } catch (error) {
      this.deps.log.warn(`chat: ${messageOf(error)}`);
      return undefined;
    }
  }

  /** As the model's own tokenizer counts: what the text adds to a prompt without it. */
  private async tokensIn(id: string, text: string, token: vscode.CancellationToken): Promise<number> {
    const [without, with_] = await Promise.all([this.count(id, '', token), this.count(id, text, token)]);
    return with_.query - without.query;
  }

  private count(id: string, input: string, token: vscode.CancellationToken | undefined): Promise<PromptCount> {
    const { engine } = this.deps.settings();
    const set = { version: 1, name: 'chat', instruction: '-', form: 'io', examples: [] };
    return this.deps.server.request(Method.countPrompt, { engine, set, input, ...this.choice(id) }, undefined, token);
  }
}

function spoken({ role, content }: vscode.LanguageModelChatRequestMessage): Spoken {
  const texts = content.map((part) => {
    if (part instanceof vscode.LanguageModelTextPart) return part.value;
    throw new Error(vscode.l10n.t('Models of the Flan family read text only: no images, files or results of tools.'));
  });
  return { who: role === vscode.LanguageModelChatMessageRole.Assistant ? 'assistant' : 'user', text: texts.join('') };
}
