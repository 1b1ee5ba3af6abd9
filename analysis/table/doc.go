// Package table prints what a run came to: detection, coverage, latency, EPT
// violations, overhead, cost of events and the detector's quality of service, as
// text for a terminal, as Markdown, as LaTeX, or as CSV for other programs.
//
// Summary prints the usual two of them, Kinds lists all. The text is built from
// analysis.Group; the layout is left to github.com/olekukonko/tablewriter, which
// no other package of the project sees, but for LaTeX, which it does not know.
// Every median has its n and its interval, or its range where the trials are too
// few for one; CSV has the full precision.
package table
