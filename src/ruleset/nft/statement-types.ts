// What one rule says, as values: expressions (what is looked at), values (what it is compared with), statements. Pure.

export type NftExpression =
  /** `ip saddr`, `tcp dport`, `th sport`, `ether type`, `arp saddr ip`; raw bytes: protocol `@th`, field `0,16`. */
  | { readonly kind: 'payload'; readonly protocol: string; readonly field: string }
  /** `meta mark`, and those printed without `meta`: `iifname`. */
  | { readonly kind: 'meta'; readonly key: string }
  | {
      readonly kind: 'ct';
      readonly key: string;
      readonly direction: 'original' | 'reply' | undefined;
      readonly family: 'ip' | 'ip6' | undefined;
    }
  /** `fib saddr . iif oif`: inputs `saddr`, `iif`; result `oif`. */
  | { readonly kind: 'fib'; readonly inputs: readonly string[]; readonly result: string }
  | { readonly kind: 'concat'; readonly parts: readonly NftExpression[] }
  /** `meta mark & 0xff`; `right` as printed, without parentheses. */
  | { readonly kind: 'binary'; readonly operator: string; readonly left: NftExpression; readonly right: string }
  /** `tcp option maxseg size`, `socket transparent`, `numgen inc mod 2`, `frag more-fragments`, ... : known, not modelled. */
  | { readonly kind: 'other'; readonly text: string };

export type NftValue =
  /** A number, an address, a symbol (`established`), a name; `text` without quotes. */
  | { readonly kind: 'literal'; readonly text: string; readonly quoted: boolean }
  | { readonly kind: 'range'; readonly from: string; readonly to: string }
  /** `10.0.0.0/8` */
  | { readonly kind: 'prefix'; readonly address: string; readonly length: number }
  /** Bits: `established,related`, `(syn | ack)`. */
  | { readonly kind: 'list'; readonly values: readonly string[] }
  /** `syn / fin,syn,rst,ack`: these bits of those. */
  | { readonly kind: 'masked'; readonly values: readonly string[]; readonly mask: readonly string[] }
  | { readonly kind: 'concat'; readonly parts: readonly NftValue[] }
  | { readonly kind: 'set'; readonly name: string }
  | { readonly kind: 'anonymous-set'; readonly elements: readonly NftValue[] }
  /** `tcp dport map { 80 : 10.0.0.1 }` */
  | { readonly kind: 'map'; readonly key: NftExpression; readonly map: NftMap }
  /** `meta mark set ct mark` */
  | { readonly kind: 'expression'; readonly expression: NftExpression };

export type NftMap =
  | { readonly kind: 'named'; readonly name: string }
  | { readonly kind: 'anonymous'; readonly entries: readonly NftMapEntry[] };

export interface NftMapEntry {
  /** A literal `*` takes what no other entry takes. */
  readonly key: NftValue;
  /** As printed: `drop`, `jump web`, `10.0.0.1`. */
  readonly value: string;
}

/**
 * `implicit`: no operator is printed. For bits (`ct state established,related`, `tcp flags syn`) it means "any of
 * these", for all else "equal" or "in". `!` is "none of these bits".
 */
export type NftOperator = 'implicit' | '==' | '!=' | '<' | '>' | '<=' | '>=' | '!';

export type NftVerdict = 'accept' | 'drop' | 'return' | 'continue' | 'jump' | 'goto';

interface Kinds {
  readonly match: { readonly left: NftExpression; readonly operator: NftOperator; readonly right: NftValue };
  readonly verdict: {
    readonly verdict: NftVerdict;
    readonly chain: string | undefined;
    /** Rules of the chain without a name behind `jump {`. */
    readonly rules: readonly string[] | undefined;
  };
  readonly vmap: { readonly key: NftExpression; readonly map: NftMap };
  /** `reject with icmp port-unreachable`: `with` is `icmp port-unreachable`. */
  readonly reject: { readonly with: string | undefined };
  readonly queue: object;
  readonly nat: {
    readonly nat: 'dnat' | 'snat' | 'masquerade' | 'redirect' | 'tproxy';
    readonly family: 'ip' | 'ip6' | undefined;
    readonly address: NftValue | undefined;
    /** `8080` or `1-100`, without the colon. */
    readonly port: NftValue | undefined;
    readonly flags: readonly string[];
  };
  readonly counter: { readonly packets: number | undefined; readonly bytes: number | undefined };
  /** `counter name "c1"`, `quota name "q1"`, `limit name "l1"`, `synproxy name "s1"`, `ct helper set "h1"` */
  readonly reference: { readonly object: string; readonly name: string };
  readonly limit: { readonly over: boolean; readonly rate: string; readonly burst: string | undefined };
  readonly quota: { readonly over: boolean };
  readonly log: { readonly options: Readonly<Record<string, string>> };
  /** `meta mark set 0x1`, `ip ttl set 5` */
  readonly mangle: { readonly target: NftExpression; readonly value: NftValue };
  /** `update @seen { ip saddr timeout 10s }` */
  readonly 'update-set': {
    readonly operation: 'add' | 'update' | 'delete';
    readonly set: string;
    readonly element: string;
  };
  /** At most `count` connections (`over`: more than that). */
  readonly 'ct-count': { readonly over: boolean; readonly count: number };
  /** `xt match physdev`: what iptables-nft wrote and nft cannot show. It may do anything. */
  readonly xt: { readonly what: string; readonly name: string };
  readonly comment: { readonly comment: string };
  /** Known by its first word, nothing in it matters for a verdict: `notrack`, `flow add @f`, `dup to`, `last`. */
  readonly other: { readonly name: string };
  /** May match or not, and may end the rule. */
  readonly unknown: object;
}

/** `text` is the statement as it stands in the rule; joined in order they are the rule, blanks aside. */
export type NftStatement = {
  [K in keyof Kinds]: { readonly kind: K; readonly text: string } & Kinds[K];
}[keyof Kinds];

/** A statement before its text is cut out. */
export type NftStatementBody = { [K in keyof Kinds]: { readonly kind: K } & Kinds[K] }[keyof Kinds];
