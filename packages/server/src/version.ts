/** The version of this package, as in its package.json: a constant, so that browsers have it, too. */
export const VERSION = "0.1.0";
