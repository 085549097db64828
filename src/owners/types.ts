// What an owner is: a neighbour that writes rules, told by evidence that can be shown. One file an owner. Pure.

import type { Network } from '../ruleset/network.ts';
import type { Ruleset, Table } from '../ruleset/types.ts';
import type { NeighbourPart, OwnerId } from '../ruleset/user-part.ts';

/** What is known when a table is classified. */
export interface OwnerView {
  readonly ruleset: Ruleset;
  readonly table: Table;
  /** libvirt's own definitions; undefined when they could not be had (then the shape of a whole set decides). */
  readonly networks: readonly Network[] | undefined;
  /** The neighbours' part at the last complete read: a set that is being rewritten right now stays its owner's. */
  readonly known: NeighbourPart | undefined;
}

export interface Claim {
  readonly owner: OwnerId;
  /** Why, in words a person can check. */
  readonly evidence: string;
  /** True for a copy of a neighbour's rule that the neighbour itself no longer has: an old dump brought it back. */
  readonly stale?: true;
  /** For a stale copy of a network that does not run: its bridge. While that exists, the network is being started or stopped. */
  readonly bridge?: string;
}

/** Where owners put their claims. The first claim stands. */
export interface ClaimSheet {
  chain(name: string, claim: Claim): void;
  rule(chain: string, index: number, claim: Claim): void;
  claimed(chain: string, index: number): boolean;
}

export interface Owner {
  readonly id: OwnerId;
  readonly title: string;
  /**
   * `kept`: a snapshot remembers where its rules stand among the user's. `none`: it insists on the top, nothing is
   * ever moved for or against it.
   */
  readonly slot: 'kept' | 'none';
  /** Where its rules belong when no slot is known. */
  readonly place: 'catch-all' | 'as-found';
  /** True when it deletes by rule text, so that its rules may be moved and put back by text without confusing it. */
  readonly byText: boolean;
  claim(view: OwnerView, sheet: ClaimSheet): void;
}
