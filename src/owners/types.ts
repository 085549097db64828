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
  chainOwner(name: string): OwnerId | undefined;
}

/** A program that writes for the owner, by its name as /proc shows it. */
export interface Program {
  /** Of the file's name, of the script's for an interpreter. */
  readonly name: RegExp;
  /** Some argument holds this; for helpers that several programs share. */
  readonly argument?: string;
  /** How far up: 1 = the writer itself and its parent; more for those who write through sudo, a shell or a helper. */
  readonly reach: number;
}

/** What the later stages go by, once a rule has an owner. */
export interface OwnerTraits {
  readonly id: OwnerId;
  readonly title: string;
  /**
   * `kept`: a snapshot remembers where its rules stand among the user's. `none`: it insists on the top, or it is not known
   * how it takes being moved; nothing is ever moved for or against it.
   */
  readonly slot: 'kept' | 'none';
  /** Where its rules belong when no slot is known. */
  readonly place: 'catch-all' | 'as-found';
  /** True when its rules may be put back by text after a wipe: it deletes by text, and it was measured that this confuses it not. */
  readonly byText: boolean;
  readonly programs?: readonly Program[];
}

/** An owner that tells its rules by a function of its own: mendwall and libvirt. */
export interface Owner extends OwnerTraits {
  claim(view: OwnerView, sheet: ClaimSheet): void;
}

/** A chain that a program makes for itself. */
export interface OwnChain {
  /** `DOCKER`, or what the name begins with: `f2b-*`. */
  readonly name: string;
  /** The whole name, where its beginning says too little. */
  readonly form?: RegExp;
  /** Only where this chain stands in the same table: for names that an admin could choose, too. */
  readonly requires?: string;
  /**
   * The chain is left to the user, by its owner's documentation or by what it does. Then only these texts are the owner's
   * (its plain jump, its own RETURN), and jumps into its other chains; all else in there is the user's.
   */
  readonly users?: readonly string[];
  /** Keeps a slot in this chain, whatever the owner does elsewhere. */
  readonly slot?: 'kept';
  /** The jump into the chain is the user's to write: the program never does. */
  readonly hook?: 'user';
}

/** A rule that is told by its own text, outside its owner's chains. */
export interface OwnRule {
  /** A word that each such rule holds: most rules are dismissed by one search for all words of all owners. */
  readonly telltale: string;
  /** The whole rule, `-A CHAIN ...`, as iptables-save prints it. */
  readonly form: RegExp;
  readonly evidence: string;
  readonly requires?: string;
}

/** Rules without any mark, which a program writes beside a rule that has one. Each is the program's once. */
export interface OwnSet {
  readonly table: string;
  readonly chain: string;
  readonly lines: readonly string[];
  /**
   * The marked rule: without it nothing is claimed; of several copies of a line the nearest to it is the program's. Undefined:
   * the lines are the program's as a whole set only.
   */
  readonly anchor: string | undefined;
}

/** Rules of one shape that are told by standing for both directions: the part of the form named `name` says of what. */
export interface OwnPair {
  readonly table: string;
  readonly chain: string;
  readonly telltale: string;
  readonly form: RegExp;
  readonly both: readonly [RegExp, RegExp];
  readonly evidence: string;
}

/** A neighbour as data: signature, habits, repair. Facts: each file names its source. */
export interface Neighbour extends OwnerTraits {
  readonly chains?: readonly OwnChain[];
  readonly rules?: readonly OwnRule[];
  readonly sets?: readonly OwnSet[];
  readonly pairs?: OwnPair;
  /** A chain of this name makes the whole table the program's, as far as no one else claims it. */
  readonly wholeTable?: RegExp;
  /**
   * The comments that the program writes inside its own chains. A rule in there with any other comment is the user's.
   * Undefined: comments tell nothing, what stands in its chains is its own.
   */
  readonly comments?: RegExp;
  /** Native nftables tables that are its own: `inet netavark`. */
  readonly tables?: readonly string[];
  /** Built-in chains of the table filter whose policy it sets; a policy is its own while a jump of its stands in the chain. */
  readonly policies?: readonly string[];
  /** What it does with its own and with others' rules, for people. */
  readonly habits: { readonly start: string; readonly reload: string; readonly stop: string };
  /** How its rules come back after somebody else's flush. */
  readonly repair: {
    /** Undefined: only the program itself can, at its next own occasion. */
    readonly command: string | undefined;
    /** True when the command disturbs more than rules (restarts containers, breaks connections): never without being asked. */
    readonly onRequest: boolean;
    readonly note?: string;
    /** The program's own command, `[repair] ID = "ask"`; undefined: `command` is for people. Run as it stands, without a shell. */
    readonly ask?: readonly [string, ...string[]];
    /**
     * True where its last known rules may go back by text, `[repair] ID = "reinsert"`: it deletes by text, keeps no state of its
     * own about them, and all of them stand in built-in chains.
     */
    readonly reinsert?: true;
  };
  /** Folder below test/captures with what the program itself wrote; every line of it is labelled by a test. */
  readonly verified: string | 'unverified';
  /** Where the signature is from. */
  readonly source: string;
}
