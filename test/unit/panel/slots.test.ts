// Numbered slots: one set each, those of the workspace before those of the profile.
import { expect, it } from 'vitest';
import { PROFILE_SETS, SYNCED_KEYS } from '../../../src/panel/profile';
import { Slots } from '../../../src/panel/slots';

function memento() {
  const values = new Map<string, unknown>();
  return {
    keys: () => [...values.keys()],
    get: (key: string, fallback?: unknown) => values.get(key) ?? fallback,
    update: async (key: string, value: unknown) => void values.set(key, value),
    setKeysForSync: () => undefined,
  };
}

const workspace = { id: 'folder#a.json', scope: 'workspace' } as const;
const other = { id: 'folder#b.json', scope: 'workspace' } as const;
const profile = { id: 'profile#c.json', scope: 'profile' } as const;

it('holds one set a slot, and a set has one slot', async () => {
  const slots = new Slots({ workspaceState: memento() as never, globalState: memento() as never });
  await slots.assign(workspace, 1);
  await slots.assign(other, 1);
  expect([slots.in(1), slots.of(workspace.id)]).toEqual([other.id, undefined]);
  await slots.assign(other, 2);
  expect([slots.in(1), slots.in(2)]).toEqual([undefined, other.id]);
  await slots.assign(other, undefined);
  expect(slots.of(other.id)).toBeUndefined();
});

it('of the profile is in every workspace, where one of the workspace covers it', async () => {
  const globalState = memento() as never;
  const here = new Slots({ workspaceState: memento() as never, globalState });
  const elsewhere = new Slots({ workspaceState: memento() as never, globalState });
  await here.assign(profile, 3);
  await here.assign(workspace, 3);
  expect([here.in(3), elsewhere.in(3)]).toEqual([workspace.id, profile.id]);
  await here.assign(profile, 3);
  expect(here.in(3)).toBe(profile.id);
});

it('goes along when a set is renamed or moved', async () => {
  const slots = new Slots({ workspaceState: memento() as never, globalState: memento() as never });
  await slots.assign(workspace, 4);
  await slots.follow(workspace.id, profile);
  expect([slots.in(4), slots.of(workspace.id)]).toEqual([profile.id, undefined]);
  await slots.follow(other.id, profile);
  expect(slots.in(4)).toBe(profile.id);
});

it('of the profile travels with settings sync, as the sets do', async () => {
  const globalState = memento();
  await new Slots({ workspaceState: memento() as never, globalState: globalState as never }).assign(profile, 1);
  expect(globalState.keys().length).toBe(1);
  expect(SYNCED_KEYS).toEqual(expect.arrayContaining([...globalState.keys(), PROFILE_SETS]));
});
