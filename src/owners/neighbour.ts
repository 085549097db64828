// What all neighbours described by data share: they stay where they put themselves, and nothing of theirs is put back by text.

import type { Neighbour } from './types.ts';

/** Putting back by text was measured for libvirt alone; for everybody else `repair` names the command. */
export function neighbour(facts: Omit<Neighbour, 'place' | 'byText'>): Neighbour {
  return { ...facts, place: 'as-found', byText: false };
}
