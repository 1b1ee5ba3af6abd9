// Package xl creates and destroys Xen guests with the xl toolstack.
//
// Config.Render returns the text of an xl configuration for a description of a guest, of type
// PVH or HVM. Toolstack runs xl. bench/dom0 makes the guests of trials with it.
package xl
