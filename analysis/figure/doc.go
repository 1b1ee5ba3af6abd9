// Package figure draws what a run came to, as PNG, SVG and PDF, each figure with
// a caption and a table of exactly the values drawn: an overview of two panels,
// one figure each of detection over time, coverage, EPT violations, overhead and
// scaling with vCPUs and guests, and the time line of a single trial.
//
// A figure is made in two steps. The model takes the numbers from the trials and
// is what the golden tests compare; drawing adds no number. Equal trials give
// equal bytes in every file.
//
// gonum.org/v1/plot draws the axes, plotters of this package the data: stacked
// bars and rows with raw points and whiskers, survival curves with censored
// marks, a heat map. Colours, markers and type are in style.go and nowhere else.
package figure
