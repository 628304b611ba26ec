-- The least a job can do.
return {
  map = function(item) return item end,
}
