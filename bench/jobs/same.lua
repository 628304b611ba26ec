-- Does the least that a job can do.
return {
  map = function(item) return item end,
}
