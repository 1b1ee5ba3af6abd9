module hangbench

go 1.26
