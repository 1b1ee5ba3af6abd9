// Package report writes a run as one HTML page: the tables, the figures, every trial with
// its evidence, and the versions and seeds. The page loads nothing from elsewhere, so it
// can be mailed, and it fits on a phone.
//
// Tables and figures are those of analysis/exhibit. Equal runs give equal bytes.
package report
