/** Numbered slots: a command each, since a key can be bound to a command but not to a prompt set. */
import type * as vscode from 'vscode';
import type { SetInfo } from './messages';
import { PROMPT_SLOTS } from './profile';

export const SLOTS = [1, 2, 3, 4, 5, 6, 7, 8, 9] as const;

type Assigned = Readonly<Record<string, string>>;

/** Sets of the workspace take a slot in this workspace only, and go before those of the profile. */
export class Slots {
  private readonly workspace: vscode.Memento;
  private readonly profile: vscode.Memento;

  constructor({ workspaceState, globalState }: Pick<vscode.ExtensionContext, 'workspaceState' | 'globalState'>) {
    this.workspace = workspaceState;
    this.profile = globalState;
  }

  /** The id of the set in a slot. */
  in(slot: number): string | undefined {
    return this.assigned(this.workspace)[slot] ?? this.assigned(this.profile)[slot];
  }

  of(id: string): number | undefined {
    return SLOTS.find((slot) => this.in(slot) === id);
  }

  /** Takes the set out of its old slot, and whatever was in the new one out of that. */
  async assign({ id, scope }: Pick<SetInfo, 'id' | 'scope'>, slot: number | undefined): Promise<void> {
    const own = scope === 'workspace' ? this.workspace : this.profile;
    for (const memento of [this.workspace, this.profile]) {
      // A set of the workspace only covers what the profile has in that slot.
      const gives = memento === own || memento === this.workspace;
      const kept = Object.entries(this.assigned(memento)).filter(
        ([at, other]) => other !== id && !(gives && Number(at) === slot),
      );
      const added = memento === own && slot !== undefined ? [[String(slot), id]] : [];
      await memento.update(PROMPT_SLOTS, Object.fromEntries([...kept, ...added]));
    }
  }

  /** A renamed set keeps its slot. */
  async follow(from: string, to: Pick<SetInfo, 'id' | 'scope'>): Promise<void> {
    const slot = this.of(from);
    if (slot === undefined) return;
    await this.assign({ id: from, scope: to.scope }, undefined);
    await this.assign(to, slot);
  }

  private assigned(memento: vscode.Memento): Assigned {
    return memento.get<Assigned>(PROMPT_SLOTS, {});
  }
}
