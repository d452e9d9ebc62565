/** The pick of a model to install: the recommended one first, then what fits this machine, then the rest. */
import * as vscode from 'vscode';
import type { AvailableModel } from '../../server/protocol';
import { facts, fitSentence, inLanguage, size } from './words';

interface ModelItem extends vscode.QuickPickItem {
  readonly model?: AvailableModel;
  readonly other?: boolean;
}

export type Picked =
  | { readonly kind: 'known'; readonly model: AvailableModel }
  /** `owner/name`, with a revision behind an `@` if any. */
  | { readonly kind: 'other'; readonly repository: string };

/** Undefined: the user declined. */
export async function pickModel(models: Promise<readonly AvailableModel[]>): Promise<Picked | undefined> {
  const items = models.then(itemsOf);
  const picked = await vscode.window.showQuickPick(items, {
    title: vscode.l10n.t('Install a Model'),
    placeHolder: vscode.l10n.t('It is downloaded and converted in one go'),
    matchOnDescription: true,
    matchOnDetail: true,
  });
  if (picked?.model !== undefined) return { kind: 'known', model: picked.model };
  if (picked?.other !== true) return undefined;
  const repository = await askForRepository();
  return repository === undefined ? undefined : { kind: 'other', repository };
}

function itemsOf(models: readonly AvailableModel[]): ModelItem[] {
  const useful = ({ tasks }: AvailableModel) => tasks.some((task) => task !== 'generate');
  const fits = (model: AvailableModel) => model.diskFits && model.engines.some((engine) => engine.fits);
  const rest = models.filter((model) => !model.recommended);
  const groups: readonly (readonly [string, readonly AvailableModel[]])[] = [
    [vscode.l10n.t('recommended for this machine'), models.filter((model) => model.recommended)],
    [vscode.l10n.t('fit this machine'), rest.filter((model) => fits(model) && useful(model))],
    [vscode.l10n.t('do not fit now'), rest.filter((model) => !fits(model) && useful(model))],
    [vscode.l10n.t('for fine-tuning only'), rest.filter((model) => !useful(model))],
  ];
  const items = groups.flatMap(([label, members]): ModelItem[] =>
    members.length === 0
      ? []
      : [{ label, kind: vscode.QuickPickItemKind.Separator }, ...members.map((model) => itemOf(model, fits(model)))],
  );
  return [
    ...items,
    { label: '', kind: vscode.QuickPickItemKind.Separator },
    { label: `$(repo) ${vscode.l10n.t('Another Repository…')}`, other: true, alwaysShow: true },
  ];
}

function itemOf(model: AvailableModel, fits: boolean): ModelItem {
  const icon = model.installed ? 'check' : model.recommended ? 'star-full' : fits ? 'cloud-download' : 'warning';
  const [engine] = model.engines.filter((one) => one.fits || !fits);
  const memory = engine === undefined ? [] : [vscode.l10n.t('{0} of memory', size(engine.needBytes))];
  const installed = model.installed ? [vscode.l10n.t('installed')] : [];
  const [parameters, download, disk] = facts(model);
  return {
    label: `$(${icon}) ${model.repository}`,
    // Only so much fits beside the label and the name of its group.
    description: [...installed, parameters, download].join(' · '),
    // Where it fits is told by its group, and in full when it is picked.
    detail: fits ? [disk, ...memory, inLanguage(model.note ?? model.good)].join(' · ') : fitSentence(model),
    model,
  };
}

async function askForRepository(): Promise<string | undefined> {
  const typed = await vscode.window.showInputBox({
    title: vscode.l10n.t('Another Repository'),
    prompt: vscode.l10n.t('A T5, mT5, umT5 or CodeT5 encoder-decoder on the hub.'),
    placeHolder: 'owner/name, owner/name@revision',
    ignoreFocusOut: true,
    validateInput: (text) =>
      text.trim() === '' || /^[\w.-]+\/[\w.-]+(@[\w./-]+)?$/.test(text.trim())
        ? undefined
        : vscode.l10n.t('Write it as owner/name, for example google/flan-t5-base.'),
  });
  return typed?.trim() || undefined;
}
