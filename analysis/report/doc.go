// Package report writes a run as one HTML page that needs nothing else: the
// tables, the figure, every trial with its evidence, and where it all comes
// from. It can be mailed, put beside a paper, or opened on a phone.
//
// The numbers are those of analysis/table and analysis/figure; this package
// adds the page. Equal runs give equal bytes.
package report
