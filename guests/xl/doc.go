// Package xl makes and unmakes Xen guests with the xl toolstack.
//
// Config.Render is pure: it turns a description of a guest into the text of an
// xl configuration and is golden-tested without Xen. Toolstack runs xl. The
// trial (bench/trial) gets a guest from here, the monitor watches it, and
// neither knows how it was made.
package xl
