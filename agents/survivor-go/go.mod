module survivor

go 1.24
