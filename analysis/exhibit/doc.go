// Package exhibit has the one list of what can be shown of a run: claims, tables and
// figures. The report and the command line use it.
package exhibit
