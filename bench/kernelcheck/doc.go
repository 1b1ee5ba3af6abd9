// Package kernelcheck says of a kernel image, without running it, what a monitor can read
// of a guest with this kernel, which classes of hangs it can judge, which mechanisms
// work, and which faults can be injected.
//
// It has no list of its own. What a monitor reads is the table of monitor/linux that the
// monitor itself uses. A fault is tried by the injector itself, on the image in place of
// a guest's memory (image).
package kernelcheck
