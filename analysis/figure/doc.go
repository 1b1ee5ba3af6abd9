// Package figure draws the results of a run as PNG, SVG and PDF. Each figure has a
// caption and a CSV table of exactly the values drawn.
//
// Kinds lists the figures that are drawn of the trials of a run. A new figure is a
// function that makes a Figure from an analysis.Set, and a line in Kinds. Two figures are
// drawn of other data: Timeline of the samples of one trial, Breakdown of the time of
// one event.
//
// A figure is made in two steps. The first takes the numbers from the trials. The second
// draws them and adds no number. Equal trials give equal bytes in every file.
//
// gonum.org/v1/plot draws the axes. Plotters of this package draw the data: stacked bars
// and rows with dots and whiskers, survival curves with marks of censored trials, a heat
// map. Colours, marks and fonts are in style.go.
package figure
