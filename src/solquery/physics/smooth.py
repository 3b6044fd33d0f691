SMOOTH = {}
