// Package figure draws what a run came to: one figure of two panels, EPT
// violations by class and detection times, as PNG and SVG, with a caption and
// a table of exactly the values drawn.
//
// A figure is made in two steps. The model (Overview) takes the numbers from
// the trials and is what the golden tests compare; drawing adds no number.
// Equal trials give equal bytes in every file.
//
// gonum.org/v1/plot draws the axes, plotters of this package the data:
// horizontal stacked bars with raw points, and dot rows with censored marks.
// Colours, markers and type are in style.go and nowhere else.
package figure
